target "default" {
  no-cache-filter = [1]
}
