target "default" {
  matrix     = { v = ["a", "b"] }
  name       = v
  dockerfile = "${v}.D"
}
