target "default" {
  platforms = ["linux/amd64"]
}
target "many" {
  platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
}
