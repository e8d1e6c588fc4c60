target "default" {
  args = {
    v0 = jsonencode(substr(homedir(), 0, 1))
    v1 = jsonencode(homedir())
  }
}
