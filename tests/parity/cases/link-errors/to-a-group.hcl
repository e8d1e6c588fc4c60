target "a" {
  contexts = { x = "target:g" }
}
group "g" { targets = ["b"] }
target "b" {}
