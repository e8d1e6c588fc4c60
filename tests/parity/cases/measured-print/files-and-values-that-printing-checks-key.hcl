target "default" { ssh = ["k=/nowhere/key"] }
