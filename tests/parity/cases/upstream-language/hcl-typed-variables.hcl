variable "N" { default = 3 }
variable "B" { default = true }
target "default" { args = { n = N > 5 ? "more" : "less", b = B ? "yes" : "no" } }
