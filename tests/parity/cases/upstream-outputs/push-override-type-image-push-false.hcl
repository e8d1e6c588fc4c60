target "t" {
  output = ["type=image,compression=gzip"]
}
