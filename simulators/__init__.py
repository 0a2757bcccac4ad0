"""Forward models that come with sbi_kit, each a plug-in like anyone's."""
