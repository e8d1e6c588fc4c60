variable "A" { default = "default" }
target "t" { args = { A = A } }
