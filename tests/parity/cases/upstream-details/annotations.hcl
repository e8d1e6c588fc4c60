target "default" {
  output      = ["type=image,name=x"]
  annotations = ["manifest[linux/arm64]:k=v"]
}
