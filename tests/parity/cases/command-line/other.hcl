target "x" {
  context = "elsewhere"
}
target "default" {}
