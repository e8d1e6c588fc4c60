variable "V" { default = "a,b" }
target "app" {
 matrix = {a=split(",",V)}
 name="x${a}"
}
