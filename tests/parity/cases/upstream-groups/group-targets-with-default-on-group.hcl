group "default" {
  targets = ["app", "many"]
}
target "app" {}
target "more" {}
target "many" {
  platforms = ["linux/amd64", "linux/arm64"]
}
