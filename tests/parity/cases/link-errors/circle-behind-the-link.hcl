target "a" {
  contexts = { x = "target:b" }
}
target "b" {
  contexts = { y = "target:c" }
}
target "c" {
  contexts     = { y = "target:b" }
  entitlements = ["network.host"]
}
