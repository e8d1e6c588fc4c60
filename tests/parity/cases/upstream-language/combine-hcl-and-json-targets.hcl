group "default" { targets = ["a"] }
target "meta-a" {}
target "meta-b" {}
target "a" {
  inherits = ["meta-a"]
  target   = "a"
}
target "b" {
  inherits = ["meta-b"]
  target   = "b"
}
