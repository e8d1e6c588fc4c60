group "g" {
  targets = ["g"]
}
target "g" {
  dockerfile = "G"
}
target "app" {}
