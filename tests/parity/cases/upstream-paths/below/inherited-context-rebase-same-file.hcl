target "base" {
  context = "ctx"
}
target "t" {
  inherits = ["base"]
  tags     = ["t:1"]
}
