target "default" { annotations = ["manifest[plat/form]:com.example=a"] }
