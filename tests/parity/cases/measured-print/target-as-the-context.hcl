target "base" {}
target "a" { context = "target:base" }
target "b" {
  context  = "target:base"
  contexts = { x = "target:base" }
}
