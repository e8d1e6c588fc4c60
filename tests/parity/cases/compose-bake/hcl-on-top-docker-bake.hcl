target "a" {
  args = { B = 2 }
  tags = ["u"]
  cache-from = ["y"]
}
