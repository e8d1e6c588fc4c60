target "default" {
  no-cache = "0"
}
