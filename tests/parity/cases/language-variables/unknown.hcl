
target "default" {
  args = {
    v = FOOBAZ
  }
}
