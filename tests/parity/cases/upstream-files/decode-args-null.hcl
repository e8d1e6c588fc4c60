target "default" {
  args = null
}
