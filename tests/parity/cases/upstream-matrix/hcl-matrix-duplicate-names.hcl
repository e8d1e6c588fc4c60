target "default" {
  matrix = { v = ["a", "b"] }
  name   = "same"
}
