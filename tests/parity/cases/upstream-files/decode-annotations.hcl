target "default" {
  annotations = [{}]
}
