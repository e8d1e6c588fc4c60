target "default" {
  args = [for x in [1] : x]
}
