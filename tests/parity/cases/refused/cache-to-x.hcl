target "default" {
  cache-to = ["\"x"]
}
