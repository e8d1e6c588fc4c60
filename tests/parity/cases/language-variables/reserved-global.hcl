target = "x"
BAKE_LOCAL_PLATFORM = "x"
target "default" {
  args = {
    v = BAKE_LOCAL_PLATFORM
  }
}
