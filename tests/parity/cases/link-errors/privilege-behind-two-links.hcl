target "a" {
  contexts = { x = "target:b" }
}
target "b" {
  contexts = { y = "target:c" }
}
target "c" { entitlements = ["network.host"] }
