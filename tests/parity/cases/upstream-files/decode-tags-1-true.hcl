target "default" {
  tags = [1, true]
}
