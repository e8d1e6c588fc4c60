target "a" {
  context  = "target:b"
  contexts = { x = "target:" }
}
