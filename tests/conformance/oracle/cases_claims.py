from model import Suite


def suite():
    return Suite("claims")
