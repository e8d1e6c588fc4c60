target "default" {
  dockerfile = "D"
}
