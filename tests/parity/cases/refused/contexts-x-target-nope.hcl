target "default" {
  contexts = { x = "target:nope" }
}
