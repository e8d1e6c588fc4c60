group "g" {
  matrix = { name = ["x", "y"] }
}
target "a" {}
