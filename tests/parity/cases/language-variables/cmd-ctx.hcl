
target "default" {
  args = {
    v = BAKE_CMD_CONTEXT
  }
}
