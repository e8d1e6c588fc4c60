target "bottom" {}
target "middle" {
  output   = ["somewhere"]
  contexts = { below: "target:bottom" }
}
target "top" {
  contexts = { plain: "dir", below: "target:middle" }
}
target "apart" {}
