target "default" { dockerfile = "1" }
target "default" { dockerfile = "2" }
