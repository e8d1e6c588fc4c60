target "default" {
  annotations = ["foo:a=b"]
}
