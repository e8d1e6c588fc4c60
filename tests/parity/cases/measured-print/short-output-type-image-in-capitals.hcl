target "default" { output = ["type=IMAGE"] }
