target "default" {
  annotations = ["manifest[]:a=b"]
}
