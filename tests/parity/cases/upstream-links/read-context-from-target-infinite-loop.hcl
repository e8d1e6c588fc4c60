target "a" {
  output   = ["x"]
  contexts = { c: "target:b" }
}
target "b" {
  contexts = { c: "target:a" }
}
