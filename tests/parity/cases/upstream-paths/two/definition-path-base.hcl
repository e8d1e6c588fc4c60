target "t" {
  tags = ["t:1"]
}
target "other" {
  context = "."
}
