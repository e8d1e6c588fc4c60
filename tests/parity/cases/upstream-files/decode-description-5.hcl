target "default" {
  description = 5
}
