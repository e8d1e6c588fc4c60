target "default" {
  tags = toset(["a"])
}
