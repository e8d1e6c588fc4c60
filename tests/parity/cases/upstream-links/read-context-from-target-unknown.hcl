target "t" {
  contexts = { a: "b", c: "target:nobody" }
}
