target "default" { tags = ["d"] }
target "web" {}
target "app" {}
