target "t" {
  inherits = ["base"]
  tags     = ["t:1"]
}
