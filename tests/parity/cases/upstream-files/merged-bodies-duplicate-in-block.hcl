target "a" {
  tags = ["1"]
  tags = ["2"]
}
