target "app" {
  dockerfile = "D"
}
