target "default" {
  args = "a"
}
