target "default" {
  output = ["type=image,x"]
}
